//! What customers and the assistant write: a small grammar in Spanish and English.

use super::random::SampleRandom;

/// What a session is about.
pub(super) struct Topic {
    pub(super) intent: &'static str,
    pub(super) sentiment: &'static str,
    pub(super) spanish: Phrases,
    pub(super) english: Phrases,
}

/// Sentences of both sides; `{word}` stands for one of a list.
pub(super) struct Phrases {
    pub(super) user: &'static [&'static str],
    pub(super) assistant: &'static [&'static str],
}

pub(super) const TOPICS: [Topic; 8] = [
    Topic {
        intent: "pricing_inquiry",
        sentiment: "neutral",
        spanish: Phrases {
            user: &[
                "{hola} ¿cuál es el precio del {plan}?",
                "¿Me pueden cotizar {count} licencias del {plan}, por favor?",
                "¿El {plan} incluye soporte los fines de semana?",
            ],
            assistant: &[
                "Claro, {name}. El {plan} cuesta ${amount} al mes e incluye soporte 24/7.",
                "Para {count} licencias el precio es de ${amount} con IVA. ¿Le envío la cotización?",
            ],
        },
        english: Phrases {
            user: &[
                "{hello} how much is the {plan}?",
                "Do you have a discount if I pay the {plan} for a year?",
            ],
            assistant: &[
                "Sure, {name}! The {plan} is ${amount} a month, support included.",
                "Yes: pay {count} months of the {plan} and two more are on us.",
            ],
        },
    },
    Topic {
        intent: "order_status",
        sentiment: "neutral",
        spanish: Phrases {
            user: &[
                "{hola} ¿dónde viene mi pedido {order}?",
                "Mi pedido {order} iba a llegar el {day} y todavía no lo recibo.",
                "¿Pueden cambiar la dirección del pedido {order}? Ahora estoy en {city}.",
            ],
            assistant: &[
                "Su pedido {order} salió de {city} y llega el {day} antes de las {hour}.",
                "Ya actualicé la dirección del pedido {order}, {name}. ¿Algo más en que ayudarle?",
            ],
        },
        english: Phrases {
            user: &[
                "{hello} where is my order {order}?",
                "The tracking page of {order} has not changed since {day}.",
            ],
            assistant: &[
                "Order {order} left {city} and should be with you on {day} before {hour}.",
                "I have asked the carrier about {order}; I will write to you by {hour}.",
            ],
        },
    },
    Topic {
        intent: "complaint",
        sentiment: "negative",
        spanish: Phrases {
            user: &[
                "Pésimo servicio, quiero cancelar el {plan}.",
                "Llevo {count} días esperando y nadie me contesta 😡",
                "Me cobraron ${amount} dos veces, esto es un robo.",
            ],
            assistant: &[
                "Lamento mucho lo ocurrido, {name}. Paso su caso a una persona del equipo ahora mismo.",
                "Tiene razón, no debió pasar. Le devolvemos ${amount} en un máximo de {count} días.",
            ],
        },
        english: Phrases {
            user: &[
                "This is the worst service I have ever had, cancel my {plan}.",
                "I've been waiting {count} days and \"someone will call you\" is all I hear.",
            ],
            assistant: &[
                "I am sorry about that, {name}. A colleague takes over from here.",
                "You are right, that should not have happened. We return the ${amount} today.",
            ],
        },
    },
    Topic {
        intent: "billing",
        sentiment: "neutral",
        spanish: Phrases {
            user: &[
                "Necesito la factura de ${amount} a nombre de mi empresa en {city}.",
                "¿Puedo pagar el {plan} con transferencia?",
            ],
            assistant: &[
                "Listo, la factura por ${amount} va en camino a su correo.",
                "Sí, {name}. La CLABE y la referencia {order} están en su cuenta, en «Pagos».",
            ],
        },
        english: Phrases {
            user: &[
                "Could you send me the invoice over ${amount} again?",
                "Can I change the card for the {plan}?",
            ],
            assistant: &[
                "The invoice is on its way to your inbox, {name}.",
                "Of course: Settings / Billing / Payment method. It takes effect on {day}.",
            ],
        },
    },
    Topic {
        intent: "technical_support",
        sentiment: "negative",
        spanish: Phrases {
            user: &[
                "La aplicación se cierra cuando abro el pedido {order}.",
                "No puedo entrar a mi cuenta desde el {day}, dice \"error {count}\".",
            ],
            assistant: &[
                "Gracias por avisar. ¿Qué teléfono usa y qué versión de la aplicación tiene?",
                "Pruebe esto:\n1. Cierre la sesión.\n2. Actualice la aplicación.\n3. Entre de nuevo.",
            ],
        },
        english: Phrases {
            user: &[
                "The app crashes as soon as I open order {order}.",
                "Login says \"error {count}\" since {day}, even after a reset.",
            ],
            assistant: &[
                "Thanks for telling us. Which phone and which version of the app is it?",
                "Please try this:\n1. Log out.\n2. Update the app.\n3. Log in again.",
            ],
        },
    },
    Topic {
        intent: "appointment",
        sentiment: "neutral",
        spanish: Phrases {
            user: &[
                "Quiero agendar una visita el {day} a las {hour} en {city}.",
                "¿Podemos mover mi cita del {day} a las {hour}?",
            ],
            assistant: &[
                "Su cita quedó para el {day} a las {hour}, {name}. Le mandamos un recordatorio.",
                "Ese horario está ocupado. ¿Le sirve el {day} a las {hour}?",
            ],
        },
        english: Phrases {
            user: &["Can someone come on {day} at {hour}? I live in {city}."],
            assistant: &["You are booked for {day} at {hour}, {name}. See you in {city}!"],
        },
    },
    Topic {
        intent: "gratitude",
        sentiment: "positive",
        spanish: Phrases {
            user: &[
                "¡Muchas gracias, {name} me ayudó rapidísimo! ⭐⭐⭐⭐⭐",
                "Excelente atención, ya quedó todo con el pedido {order} 🙌",
            ],
            assistant: &[
                "¡Con mucho gusto! Que tenga un excelente {day}.",
                "Gracias a usted, {name}. Aquí estamos para servirle.",
            ],
        },
        english: Phrases {
            user: &[
                "Thank you so much, that was quick 👍",
                "Perfect, {order} arrived. Great service!",
            ],
            assistant: &["Our pleasure, {name}. Have a great {day}!"],
        },
    },
    Topic {
        intent: "product_information",
        sentiment: "neutral",
        spanish: Phrases {
            user: &[
                "¿El {plan} sirve para {count} usuarios?",
                "¿Qué diferencia hay entre el {plan} y el que tengo ahora?",
            ],
            assistant: &[
                "Sí, el {plan} admite hasta {count} usuarios y se puede ampliar cuando quiera.",
                "El {plan} añade reportes, respaldos diarios y atención prioritaria.",
            ],
        },
        english: Phrases {
            user: &["Does the {plan} work for a team of {count}?"],
            assistant: &["It does: the {plan} covers up to {count} people, with daily backups."],
        },
    },
];

const WORDS: [(&str, &[&str]); 7] = [
    ("hola", &["Hola,", "Buenos días,", "Buenas tardes,", "Qué tal,", "Oiga,"]),
    ("hello", &["Hi,", "Hello,", "Good morning,", "Hey,"]),
    ("plan", &["plan premium", "plan básico", "plan familiar", "plan Pro", "plan Empresas"]),
    ("name", &["María", "José", "Lucía", "Andrés", "Sofía", "Miguel", "Fernanda", "Tomás", "Ana"]),
    ("city", &["Monterrey", "Guadalajara", "Mérida", "Bogotá", "San Antonio", "Puebla", "Tijuana"]),
    ("day", &["lunes", "martes", "miércoles", "jueves", "viernes", "sábado"]),
    ("hour", &["9:00", "10:30", "12:00", "16:00", "18:30"]),
];
const ENGLISH_DAYS: [&str; 6] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// `phrase` with every `{word}` filled in.
pub(super) fn fill(phrase: &str, is_english: bool, random: &mut SampleRandom) -> String {
    let mut text = String::with_capacity(phrase.len() + 32);
    let mut rest = phrase;
    while let Some((before, after)) = rest.split_once('{') {
        let (word, tail) = after.split_once('}').unwrap_or((after, ""));
        text.push_str(before);
        match word {
            "order" => text.push_str(&format!("#{}", random.within(10_000, 99_999))),
            "amount" => text.push_str(&format!("{}.{:02}", random.within(19, 4_000), 50)),
            "count" => text.push_str(&random.within(2, 30).to_string()),
            "day" if is_english => text.push_str(random.pick(&ENGLISH_DAYS)),
            _ => {
                let choices = WORDS.iter().find(|(name, _)| *name == word).map(|(_, list)| *list);
                text.push_str(random.pick(choices.unwrap_or(&["?"])));
            }
        }
        rest = tail;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_every_phrase_is_known() {
        let mut random = SampleRandom::new(1);
        for topic in &TOPICS {
            for (phrases, is_english) in [(&topic.spanish, false), (&topic.english, true)] {
                for phrase in phrases.user.iter().chain(phrases.assistant) {
                    for word in
                        phrase.split('{').skip(1).map(|rest| rest.split('}').next().unwrap())
                    {
                        let is_number = ["order", "amount", "count"].contains(&word);
                        assert!(is_number || WORDS.iter().any(|(name, _)| *name == word), "{word}");
                    }
                    assert!(!fill(phrase, is_english, &mut random).contains(['{', '}']));
                }
            }
        }
    }
}
